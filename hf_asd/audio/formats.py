"""Names of recordings: which endings are sound, and what decodes them."""

# Decoded here, with libsndfile.
OWN_SUFFIXES = frozenset(
    ".wav .wave .bwf .rf64 .w64 .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .au .snd .caf .nist .sph".split()
)
# Decoded by the program ffmpeg where it is installed.
FFMPEG_SUFFIXES = frozenset(
    ".m4a .m4b .mp4 .mov .aac .wma .asf .3gp .3g2 .amr .awb .webm .weba .mka .mkv .ac3 .eac3 .ape .wv .tta .spx .voc "
    ".avi .mpc".split()
)
# Samples without a header: nothing says their sampling rate. They are recordings, so each of them is an error that
# says how to convert it.
HEADERLESS_SUFFIXES = frozenset({".raw", ".pcm"})
READABLE_SUFFIXES = OWN_SUFFIXES | FFMPEG_SUFFIXES | HEADERLESS_SUFFIXES
ACCEPTED_FORMATS = (
    "WAV, FLAC, OGG, Opus, MP3, AIFF, AU, CAF and W64, and with the program ffmpeg M4A, AAC, WMA, AMR, 3GP and others"
)
