"""`kind = "ranked_keywords"`: keywords found by search, ranked, with a confidence."""
