"""Containers that only clamscan opens, with what it can't open in them.

Each holds the same two files: a zip with an entry packed by LZMA, and a file packed by zstd. Made by
7-Zip, gcab and genisoimage.
"""

from __future__ import annotations

import base64
import lzma

SEVENZIP = base64.b64decode(
    "N3q8ryccAAQWMjVI8AAAAAAAAAAhAAAAAAAAAEr9uuvgAMIAlV0AKBK8YCoHchk3s5eBjUThR5M2IahcMtmIBKcPMJ"
    "bAOHbKbEdOYnJle8QppEwUJEEIV4Uh2e0Hw9rW0WqjD8VEi+EpYv87CMyfSr9ZbHoOe0pMzLDXsoIryak0/tjJp4iB"
    "L2m8HqjmG1i2EZcYahJMZev8Nod2jDcqFcdLDQtmFhG5N5nLpgjiTUDuD6Dbgz4vPjOIWg0AAACBMweuD9UwS/RWbC"
    "kfSB2atbdio4vHVkdfVGM5xv3uHzGEbrjNoK/fAGVx5WnMYZC9/PEtwiYA/4QPgZ7rouZ2Z4MlqSeM5XAfGC90hvbi"
    "ZQAXBoCdAQlTAAcLAQABIwMBAQVdABAAAAxWCgGkuFJeAAA="
)
CAB = base64.b64decode(
    "TVNDRgAAAAD0AAAAAAAAACwAAAAAAAAAAwEBAAIAAAAAAAAAWAAAAAEAAQCeAAAAAAAAAAAAIVAAACAAYS56aXAAJQ"
    "AAAJ4AAAAAACFQAAAgAGIuenN0ALQEKaOUAMMAQ0sL8GZmsWdgYuBjYGBQDPgrlmCgA2RJADEHEKcn5qbqpVakcrKw"
    "MsQyMDQwMBh0cDwLMTtsoTX95Ebj0IMXPk56KbNAvXrZBPOo7a/+P97AwBDgzchkz4zbTBhoYGRAsiHAm5UNxGcEQj"
    "MgHQRWo7FV/y9LxEEGhkQFkEIdhcS8FIW8/JKMzLx0hdSc4tRD3PxZAA=="
)
ISO = lzma.decompress(
    base64.b64decode(
        "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM5X//Ah9dAABv/f//o7f/Rz5IFXI5YVG4kijmo4YH+e7kHoLTL8U6PAFLsX"
        "7JiopNL6MN2X+m44wjEVPgWRjFdYrid/dE790OjkefKuUNdUG7Q609LBi0BT3LYTAYxkCvi3upm3OqOKD8A42Qb0Y2"
        "D67d1J8fIAoZc+XlJuskle4p1+5eo/cbqhFZTmnSfnj1DGsgx3sjUEUxaPoWCBteO2oW7yQAq2tl/ihpBBMeOXETYK"
        "tNwQ2fQ58+Dm/Ke/hot3V1ig/cs6BKqyuEBom3IHDAe4IXif6Dx1i0EqKovLj11Qioc0J++h2LTFdsH60UmXYGzVYC"
        "esEABeJaMVNrYLhXh/KY0ekmu3qheVIW2ORWYpzZZ4/j9noc2X+SHTPWubsm4n290Sqw8CTZPiG57Txs3tLO+oQteg"
        "J4tWVcCF1sBLIqrI8sd/q+wwHdP2QpCbUlys7z020q8YlzyMfOWXgc7TPE524Up9a02RDgp/wLdLf4tW2FoN/bESKi"
        "s/XtBRmIyBOUSsd9VB5ZJGx9UgSjB1aaAE1HsSveULlZAu1Jmbd9hMz8HyNQbGxPOA907jd4cFKMq8DouyxgiOp1Ot"
        "9DC6Vsl7pJIL5orHAmviKhHKfZrBOftj7RPxz9I6amkPciHlW+EmpESqhd9Gc7DJsWpJzFjtCMv6zQy+OsrtSt6Goq"
        "t1Z4+NzBcE1HDNGREaqtYB26zrEnGFxZhulmUlTRkI4AAAAA3OgCkSgcH6UAAbsEgIAWAMeJLFaxxGf7AgAAAAAEWV"
        "o="
    )
)
SEVENZIP_BZIP2 = base64.b64decode(
    "N3q8ryccAAT61PTNlAEAAAAAAAAiAAAAAAAAAMRLthhCWmg5MUFZJlNZTeDqPAAAFkgAABB/4CAASMHk9R/qkGkf"
    "6qAMqvr1N8Y2fgIKA0kkHMu7ryosXlQutKgQAAIPi7kinChIJvB1HgAAAIEzB64P0oDrvUDAkM7ly3b2T7lrOSTs"
    "FSPHdawR2dd2HuO7ljZ9PwS97p47b43ez0BrhYOvkL6gKqDSKOaoxRnBqwnY58TQBy5gZ5Arbwm+SzAXEentv3hK"
    "kIkKTDr5RrZAw4l7Xeelv6my/RXQ0l4a/JRUOb2I3dVFDmHnQUD7qgPKaAN5p4tVD88o+vC8mskLO0mFMlkUV+rq"
    "s/dVFaYUA8YOn4RJUKQ9dOdtBwjZtEEg8q750vg+a4Xt2GCd7DzMTpP2xDf25vfre9icDXjsZoy8NFZg6mZanhQd"
    "93idotm6bOM6ITFkYeubaKrXF54lvBgw+nrBoWg3wYqz+4noBWZyvxyUvXJWiZiMM6MBKFWEX6FL9F7L8f/wFo8f"
    "Y7+L+GT5FX7R62kBM5iN+tqVaCW/dTVRC4xzeF0iXxgsWBUE0AAAABcGSwEJgUkABwsBAAEjAwEBBV0AEAAADIQS"
    "CgFbwrjQAAA="
)
"""A 7z archive of 40 members, packed by BZip2, over which clamscan says `OK`."""
SQUASHFS = lzma.decompress(
    base64.b64decode(
        "/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4A//AbNdADQcymryPn7zGP/3ZbIktIihzub7BQBGGa3BAU++q4lTpkG18t"
        "BoBeR2RfWFD4k4Kq+9VGxriQ4SX31nKKR+eBpIOh6q0wKoSSEY/JokrucaCdWK81ZOsg0lkad2I3ZXMJO5B3cUvF9z"
        "CMcIq4N4MMMe6LdjfNb6geWOGmoNdDCyMRTE0qMbrxdZMOCdr+ySa46ErIIvdD8jUgjE5mZrOuhTY99gVil7aHBTN+"
        "KhyGOCIKe/cp6rFf2SKGKnxuqTAzhsksvgn3fTA0ffR2TzQCX44HPdIZqensCjUsR898hKdj2WRBSvc1rQialAfGGY"
        "60MIfRlZ6f7RMgXKkxzLEp8ot1LaZ0Lt2Y70NtkUaoumsZiGZNX+BZox/KB437S26r2qnrulYnD8i5n1grY+tWkxzw"
        "MBy+StWJDravjBiFyzoS0gW3iH+Uihcov4vhip7K6ZQusPLswQLgmVpR2V7O1fmUBqjX3veSyHe1+V/Q0siR0bh+sA"
        "92hou76ihdzaHI81EOxr6JFpc3i3M7GnzESUFlYqjCDA2iHNMGKLpkzNJypZHilKioij0fceW6eL0HzpAwAAd4f48F"
        "q09uQAAc8DgCAAALfyX7GxxGf7AgAAAAAEWVo="
    )
)
"""A squashfs of `a.txt`, the test virus `z.exe`, and links out of it; made by mksquashfs."""
