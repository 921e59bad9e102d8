"""Videos and frames: open, probe, sample, store and judge them, and lay out super-images."""

from qvpipe.video.reader import Probe, Sample, VideoError, probe, sample_frames

__all__ = ["Probe", "Sample", "VideoError", "probe", "sample_frames"]
