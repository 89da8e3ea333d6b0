"""People's ratings of concepts: the sample, the files that go out and come back, what they say."""
