"""Files and folders that nobody put there as recordings."""

import os


# Folders and files that systems, storage devices and programs leave behind; hidden ones start with a dot.
SYSTEM_NAMES = {
    *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "lost.dir", "lost+found"),
    *("__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "@tmp"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "autorun.inf", "icon\r"),
}
TEMPORARY_ENDINGS = {"tmp", "temp", "part", "partial", "crdownload", "download", "filepart", "swp"}


def is_system_name(name: str) -> bool:
    """Whether a system or a program left a file or folder of this name: hidden ones, `Thumbs.db`, `a.wav.tmp`."""
    small = name.casefold()
    return (
        small.startswith((".", "~$"))
        or small.endswith("~")
        or small in SYSTEM_NAMES
        or os.path.splitext(small)[1][1:] in TEMPORARY_ENDINGS
    )
