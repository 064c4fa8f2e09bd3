-- From here on no tracker folds: its next batch waits until we are done. Readers are not held up.
LOCK TABLE tracker.offsets, tracker.unpublished IN SHARE ROW EXCLUSIVE MODE
