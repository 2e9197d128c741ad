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
