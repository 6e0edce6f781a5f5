"""Label formats: each is read into, and some are written from, one document in COCO's form."""
