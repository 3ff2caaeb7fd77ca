"""What documents introduce and later take up: things, people, institutions, ambiguous words."""
