from common.process.parent import die_with_parent
from serving.cli import main

die_with_parent()
main()
