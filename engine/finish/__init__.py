"""What is done to a film's frames behind the network: they are cleaned, interpolated, enlarged, and given a grain.

Window by window is the same as all at once, frame for frame: a step reads one frame, or two neighbours, and nothing
else. So all that one window's finish needs of the film before is its last frame, which every window hands on, also to a
continuation and to a render that goes on after it was killed; FFmpeg's filters that remember more are kept from it.

# H W height and width of a filmed frame, h w of a finished one; frames are uint8 [H, W, 3] in RGB
"""
