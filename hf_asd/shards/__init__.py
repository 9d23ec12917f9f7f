"""Very many recordings: parquet shards in and out, over several processes, in bounded memory."""
