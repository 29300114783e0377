"""Tables of the work folder: uploaded, filled in by jobs, corrected by people.

WORK/tables/ID/original.csv        the file as it came; its suffix is the format
WORK/tables/ID/meta.json           what the page shows of it; written last, so a table without it does not exist
WORK/tables/ID/cells.arrow         its cells, for pages of rows; can be made again from the original
WORK/tables/ID/places.json         how messages count its rows, and what its cells were in JSON
WORK/tables/ID/corrections.jsonl   what people have changed, the only truth about it
"""
