"""One way to train every embedded model: ``lightning.Trainer.fit`` within a budget, to be interrupted at any time."""
