"""What people write labels into, read as rows: tables, JSON and the exports of other tools."""
