"""From operations of plain graphs to layers: what SavedModel and TFLite share."""
