"""What a thing is: records, columnar batches, tables, topics, codecs and the exception tree."""
