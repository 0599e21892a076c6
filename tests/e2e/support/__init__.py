"""What the front-door tests share: real processes, a pairing client, and a socket that may misbehave."""
