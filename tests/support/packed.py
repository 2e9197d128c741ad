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

# Rars that WinRAR and rar packed. Source: the tests of libarchive 3.6.2 (`*.rar.uu`), BSD license.

RAR_COMPRESSED = base64.b64decode(
    "UmFyIRoHAM+QcwAADQAAAAAAAACoKXQgkpQAAAAAAAAAAAACAAAAACJp4T4UMG8AIAAAAJVcgr6C5lyQVoK1gqKDdINI"
    "g4uDX1yQVotLg2WDTINYg2cgg2iDTIOFg4GDk4NnLnR4dACIaGhgMIgwXKqwZVcwRDDVMKipMOswwDBcqrBlj4nGMK0w"
    "orkwyDAgyTCqrTDlMOEw8zCAyDAudHgAdADwJjmE5Jh0IJKTAAUAAAAFAAAAAtydb0K2VHQ+FDBuACAAAACVXIK+guZc"
    "ir+OmpK3gqKDdINAg0ODi5a8bG9uZy1maWxlbmFtZS1pbi2Kv46aLnR4dACIaGhgMIgwXKoib1dbd5VEMKrVMKEwpDDr"
    "MIANVGxvbgBnLWZpAGxlbmEAbWUtaQpuLSJvV1sALnR4dACwdnpoa2FuammULHTgklMAAAAAAAAAAAACAAAAACJp4T4U"
    "MC4AEAAAAJVcgr6C5lyQVoK1gqKDdINIg4uDXwCIaGhgMIgwXKqwZVcwRDDVMKipMOswwDAA8CY5hG14dOCSMwAAAAAA"
    "AAAAAAIAAAAAD2nhPhQwDgAQAAAAlVyCvoLmAIhoaGAwiDAA8OoJflkOdCCCSAA2AAAANgAAAAMlgvtdWFQLPxQwKADt"
    "oQAA6KGo44Gg44KIXOODleOCoeOCpOODqwCIaGhgMIgwXKrVMKEwpDDrMOa8ouWtl+mVt+OBhOODleOCoeOCpOODq+WQ"
    "jWxvbmctZmlsZW5hbWUtaW4t5ryi5a2XLnR4dJtqdCCAQAAPAAAAEAAAAAMF0LYV3YRnQB0zIAC0gQAAYWJjZGVmZ2hp"
    "amtsbW5vcHFyc+ODhuOCueODiC50eHQAkP8Qf+S5/CeDMD0uHNLEPXsAQAcA"
)
"""Version 4: a stored, a compressed and an empty file; folders; a link; names in Japanese."""
RAR5_COMPRESSED = base64.b64decode(
    "UmFyIRoHAQDz4YLrCwEFBwAGAQGAgIAAicZf2iYCAwvpAgSwCaSDAs1wynyABQEIdGVzdC5iaW4KAxOLV6xb+BitHsr0"
    "ZQEnZWBUH1V2Xb+UknHJz2WWWQxw2WWTGMWSE4ZCSSThkJCSSSQk45JJIQhJJCEJJJCSSEISEs21b3t9Mw6AfR0Drj+e"
    "up/3Qf732vfdea86X+gAQAEAyCCfn49vX08vHv7uzr6uno5+Xk4+Lh4N/d3NrZ19bV1NPS0M/NzMrJyMfGxcTDwb+9vL"
    "u5uLe2tbSzsrGvrq2rqqmnpaSjoqGgn52cm5mXlpSTSyUjIR6FAfjoyKiYc6cNmoaEgoB+fHt6eHZ0c3Jxb21raWdlY2"
    "FfXVtZV1VTITf1/I/QJT6JTn+ESXRYowZ5YXajgppimUF+ZC0XadRjLDOMCoR/+glMZpCl9lUKxWVguLAZFoNy4HdeEG"
    "wA8xBIyCeZhWNAumoZbYN5uHg4Bgcg+uYROgpnYYDwNt6Hu9h1fQjfxYQI0YMecKHk0Jg2L44OY6HCIEqeGFFjtjQ/nx"
    "UIBsIQ0IhNIxnJAvJQAdd1ZRAwUEAA=="
)
"""Version 5: `test.bin`, 1,200 bytes."""
RAR5_SOLID = base64.b64decode(
    "UmFyIRoHAQAJ78hvCwEFBwQGAQGAgIAAGYyU/ycCAwv5AgSAIKSDAsayE36AHQEJdGVzdDEuYmluCgMTZ1+sWxpanhDJ"
    "53UBGGVUZSb0gFf18+fPkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkv885nDWtl1e+"
    "1F08qTnVyzt8e57rfRrMzrw8/HdNt72b6d/xjNZ55rDOrM6c/B3AAIAIAbDDfz8e/u7ezr6uno5+bl5OPi4eDf3t3c29"
    "rZ2NfW1dTT0tHQz87NzMvKycjHxsXEw8LBwL++vby7urm4t7a1tLOysbCvrq2sq6qpqKempaSjoqGgn56dnJuamZiXlp"
    "WUk5KRkI+OjYyLiomIh4aFhIOCgYB/fn18e3p5eP//v7/P372Y9gpnCmWvV8oojX8kIW1wFtxYDE0aLZQlkTKA5tgxgx"
    "NmyIiWkIW1wF+YsBiaNFsoSyJlAc/IMYMTbyRES0hC2uAvxFgMTRotlCWRMoDn4BjBibeCIiWkIW1wF94sBiaNFsoSyJ"
    "lAaYdeFfmOuV99xavpt6r5i+pz15Tl7inI2visX+ADtz4pEnAgMLmQAEgCCkgwLLr2bxwB0BCXRlc3QyLmJpbgoDE3pf"
    "rFstVHMXQQ0WcAAgAgBqX8f3ueDF6n8w68O/j+X+AJaUzIcnAgMLqgAEgCCkgwLZI7GfwB0BCXRlc3QzLmJpbgoDE35f"
    "rFvQPQADQD0ncAAgAgBt1/H98w/vTQ8rKB9IY7gh9IY7gh9IY7gh7mHXh38fy/wAjXhTbCcCAwuZAASAIKSDAtQ+xBDA"
    "HQEJdGVzdDQuYmluCgMTgV+sW6EmHRJCDhZwACACAG2X8f3s8GL2P5h14d/H8v8AHXdWUQMFBAA="
)
"""Version 5: four solid files of 4,096 bytes."""
RAR_ENCRYPTED = base64.b64decode(
    "UmFyIRoHAM+QcwAADQAAAAAAAABd/HQkhC8AIAAAABAAAAADXIatpqVMMUMdMwcAtIEAAGZvby50eHRPA7zZ1hZM30VA"
    "GpKSiN8VK46ez3C5QOjJR+bO1r9E4rg1qJzoZTcBB0V0JIQvACAAAAAQAAAAA77ikM2mTDFDHTMHALSBAABiYXIudHh0"
    "TwO82dYWTN9wdHpIiYgPZlt95Qa5ch6oJVX4yjcBo+308RTzI2TRocQ9ewBABwA="
)
"""Version 4: the content of two files is encrypted."""
RAR_ENCRYPTED_IN_PART = base64.b64decode(
    "UmFyIRoHAM+QcwAADQAAAAAAAACXOnQkhC8AIAAAABAAAAADXIatpqVMMUMdMwcAtIEAAGZvby50eHSej/+lWN0VR0i2"
    "avsuPYrqcVzVP5UnWuGwncVn4bwdm/5qr+g8AT8QZjB0IIAnABwAAAAQAAAAA77ikM2mTDFDHTMHALSBAABiYXIudHh0"
    "DBDJPoy39FVBCn4hDUkJcB+e/9qGLLUmw+fvoMQ9ewBABwA="
)
"""Version 4: the content of one of two files is encrypted."""
RAR_ENCRYPTED_HEADERS = base64.b64decode(
    "UmFyIRoHAM6Zc4AADQAAAAAAAADjLqtkp1x2jIRHQgDLysyfF2eRlxtxdgRzM7EaQ58bHnY/jQkFSsCaKbOiKstQBMBO"
    "SByi1fLAk0uZr4k8cUynzjcrVOE1V6w+SLWCMjUAx+uKt3QJcE1M4y6rZKdcdoyqlt/wYnpuaKU6kwceLDrjja8yEJwG"
    "/PkSpHIUMXE+DS78M5CkOS0EgiRDqN6E9yW/KIE3XLBqo8MI4oMHjXmjgiM8EReLj4NdANFmTjWFp+Muq2SnXHaMqmfU"
    "rzaWd0hrFE2d9SLu+g=="
)
"""Version 4: everything is encrypted."""
RAR_PART = base64.b64decode(
    "UmFyIRoHABl6cxEADQAAAAAAAADXg3QjkEMA7RoAAI9OAAADOJROFfNjIUAUMBkApIEAAExpYmFyY2hpdmVBZGRpbmdU"
    "ZXN0Lmh0bWzAzPNjIUD0YyFAKQpnZW5lcmF0ZSBkZXRhaWxlZCBsb2cgbWVzc2FnZXMgb24gZmFpbHVyZS4gSW4gcGFy"
    "dGljdWxhciwgdGhleSBwcmludAp0aGUgdmFsdWUgb2YgYm90aCBhcmd1bWVudHM7IHRoaXMgZ3JlYXRseSA="
)
"""Version 4: the beginning of the second of three volumes."""
RAR5_PART = base64.b64decode(
    "UmFyIRoHAQDk42a+DQEFCAcBBwEBlOeAgACaIl7EMgIbC8vmAAS4xQXtgwJwXuQmwB0BEmVsZi1MaW51eC1BUk12Ny1s"
    "cwoDE6spr1sdaYAMD2vF8B46cONJvpks9GLCj41QNLwHvVVEmyhVpiSaPNb4aNAbLXhMvxMr2FjYECenCruzioeTpIw4"
    "HDB1wurhYxtKRTj42Ebmi1LSiZ/mszhIS7JBtrZINS5yM17aBpc4J7yxBoYybAQGvMBowyiDFzSbpNHgZrY="
)
"""Version 5: the beginning of the second of four volumes of a solid archive."""
NSIS = base64.b64decode(
    "AAAAAO++rd5OdWxsc29mdEluc3RIDwAAZQMAAO1XzU8TURCf8pEIfnDQg8eHVhRpiWgJpjFqbYutMdC0lRBpTJZ2S1dK"
    "t9m2VkwwlYtXPXjwD/BG4sF/wAPxSIJGBY2JR08m/gPi783bpWVF1JMHO+3sm4/3Zn4z+3bzNtZH1CAin4eoA+MKRvxp"
    "tYeoC2Ogl5iWDyl7rI9+S1stpAxErzB82/pzon9MH1owOJiOokG3oXfuUuOGPa5jfAPetPX3GN+5YnW71ssWv8b4Frxu"
    "z93cowdyjceWJZYOalOb2tSmNrWpTf8j7QdfJXVGc9MR8COi7muO4fnMyvGlT56POEc4voQ827l8nj0zJsgik+Zw1WiB"
    "xsmgIulUoQgkC/4wvAv4mVTa1RukjCuGaJknTzUPhLpmdsRyz3ockKegpzjE3qNhWO+CiQqQq5CrkCeohvlFzDcpD4ug"
    "OOJUIGlsF5SiRdZ1RnGHzmH1GTpPfkhDlIN9lkboLOKMcI+XG3KNjhU1KnM1GiKe5Nh1VGNwrCA0oih0WaUFTUbKci1l"
    "6LKCCuaW0AHp0xhRP+Qwz7c4uoyUg83YgVmH9xJHlzXK/mUxOhndNr0Fg4PPyVuFXaAvqqdy/STyVpG5xvXk4S8ycsuO"
    "n6J5zC7jJ5Epm0RcRhcF7rDOKA3uuKA0xw9Dk2tmoWmIlHN1xuRopW1UTTz5XXHLrAepl7mTGg1HVnmyQCgoxNksrkJV"
    "WeGxzHqBo+/sqsbx5S7zcbQk12JxXSqCo2nAoPFqH6O3eH4c1hJrektO1S2V0+CeONUNc+dqNq6F7Z2Uha8ILfjTXlXV"
    "y3tQwIo6/AN8b5odd568MmdQu4foAs+8wntiHvoAngqd94mgi7ym2bemR1WQ5Y6oztds1EF7l7rzDHAkEzh0fvLkc63z"
    "c+r1ZoDXsO+xvJPDtkTU0+W8VabA98GHWz5qHv7lu/CJS18Fr7XoX13+7+B9v3jZHYP9mUd9F78AvwSvgTfAn8FfPOoD"
    "7AA4AnF6dLI/ceJyKDETyCRuTo8GTiVuDY6Fw4NjS95oPBxK+lPp0EQklIz4QxPp+FQ8eSPlT0dTaf94/Hq03xsbip32"
    "I069oFWFWSouCk1UjLmSVq1ZujDzolrQRb1gFnWRN/hSylV+AAIOAOg="
)
"""What makensis put behind the program: `z.exe` and `h.txt`, solid, packed by zlib."""
