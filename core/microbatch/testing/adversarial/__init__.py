"""The adversarial device: runs queued work in the worst order that events allow."""
