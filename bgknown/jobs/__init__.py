"""Long work: resumable folders, processes, atomic files, problems that are listed together."""
