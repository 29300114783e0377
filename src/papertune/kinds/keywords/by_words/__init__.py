"""Keywords ranked without the model, by what the training rows say about the words of a phrase."""
