"""Request -> plan: intent, storyboard, and every number that the engine needs."""
