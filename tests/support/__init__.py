"""What tests share: models, dumps, terminals, second routes to numbers."""
