"""Images in a dataset's index: searched, compared, and their copies found."""
