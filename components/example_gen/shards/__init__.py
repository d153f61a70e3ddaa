"""Files that hold many labelled images each: Parquet, WebDataset, TFRecords, archives of folders.

`files` finds them and the splits that their names say, `formats` knows the module of each
format, which checks a file before a run and reads its images as a stream.
"""
