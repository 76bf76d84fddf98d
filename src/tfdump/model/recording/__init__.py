"""Recording a model's own call: which layer returns which tensor."""
