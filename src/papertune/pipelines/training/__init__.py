"""What trainings of all stages share: the job, the sources beside the model, and the files of the run."""
