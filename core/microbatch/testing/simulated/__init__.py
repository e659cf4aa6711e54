"""What the recording and the adversarial device share: memory, arrays, streams, events, graphs."""
