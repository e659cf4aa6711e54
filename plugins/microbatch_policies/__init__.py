"""The sizing policies that come with microbatch, announced by hook."""
