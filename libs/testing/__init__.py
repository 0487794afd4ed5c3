"""What tests need: fakes that pass the contract suites of what they stand for, real servers of one’s own, recorders."""
