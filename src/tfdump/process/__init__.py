"""The process and the machine: crashes, signals, memory, installed versions."""
