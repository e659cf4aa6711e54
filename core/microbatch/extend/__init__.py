"""What a backend or policy author needs: protocols, records, hooks, and how a plugin is found."""
