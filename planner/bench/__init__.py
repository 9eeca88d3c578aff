"""The director's examination: requests with what a good storyboard must hold, and how an answer is scored."""
