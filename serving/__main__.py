from serving.cli import main
from trainers.parent import die_with_parent

die_with_parent()
main()
