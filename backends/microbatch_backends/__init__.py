"""The backends that come with microbatch, announced by hook; importing this loads no array framework."""
