import { isUtf8 } from 'node:buffer';

/** True when the bytes are exactly one JSON value (RFC 8259) in UTF-8: what `JSON.parse` would take. */
export function isJson(bytes: Uint8Array): boolean {
  return isUtf8(bytes) && jsonFaultAt(bytes) === undefined;
}

/**
 * Where the bytes stop being exactly one JSON value; undefined when they are one. The length of the bytes: they end too early.
 * Whether they are UTF-8 is not looked at.
 *
 * Looks at each byte about once and makes no values: `JSON.parse`, whose value would be thrown away, takes seconds and a hundred
 * megabytes for six megabytes of brackets or of keys, which whoever sends them can have at will.
 */
export function jsonFaultAt(bytes: Uint8Array): number | undefined {
  return new Scan(bytes).fault();
}

const SPACE = 1;
const DIGIT = 2;
const HEX = 4;
const ESCAPED = 8;

/** What a byte may be part of. */
const CLASSES = new Uint8Array(256);
for (const [characters, bit] of [
  [' \t\n\r', SPACE],
  ['0123456789', DIGIT],
  ['0123456789abcdefABCDEF', HEX],
  ['"\\/bfnrt', ESCAPED],
] as const) {
  for (const character of characters) {
    const code = character.charCodeAt(0);
    CLASSES[code] = (CLASSES[code] ?? 0) | bit;
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
/** Bytes of a string that are looked at one by one before it is taken for a long one. */
const SHORT = 24;
/** From an opening bracket to its closing one. */
const CLOSES = 2;
const WORDS: Readonly<Record<number, Buffer>> = {
  0x66: Buffer.from('false'),
  0x6e: Buffer.from('null'),
  0x74: Buffer.from('true'),
};

const NOTHING = new Uint8Array(0);
/** Brackets for which there is room at first. */
const FIRST_ROOM = 64;

class Scan {
  readonly #bytes: Uint8Array;
  #at = 0;
  /** Brackets that are open; no recursion, so that depth costs nothing but memory, less than the bytes themselves. */
  #open = NOTHING;
  /** All of the buffer that the bytes are in, four bytes at once. */
  #words: Int32Array | undefined;
  #depth = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  fault(): number | undefined {
    for (;;) {
      if (!this.#value()) return this.#end();
      const more = this.#behindValue();
      if (more === 'whole') return undefined;
      if (more === 'wrong') return this.#end();
    }
  }

  #end(): number {
    return Math.min(this.#at, this.#bytes.length);
  }

  /** A value without anything in it, or brackets up to the first such value; with its key where it has one. */
  #value(): boolean {
    const bytes = this.#bytes;
    for (;;) {
      if (this.#depth > 0 && this.#open[this.#depth - 1] === OPEN_OBJECT && !this.#key()) return false;
      this.#space();
      const first = bytes[this.#at];
      if (first !== OPEN_LIST && first !== OPEN_OBJECT) return this.#plain(first);
      this.#at++;
      this.#space();
      if (bytes[this.#at] === first + CLOSES) {
        this.#at++;
        return true;
      }
      this.#push(first);
    }
  }

  /** Closing brackets, and the comma before the next value. */
  #behindValue(): 'more' | 'whole' | 'wrong' {
    const bytes = this.#bytes;
    for (;;) {
      this.#space();
      if (this.#depth === 0) return this.#at === bytes.length ? 'whole' : 'wrong';
      const next = bytes[this.#at];
      if (next !== COMMA && next !== (this.#open[this.#depth - 1] as number) + CLOSES) return 'wrong';
      this.#at++;
      if (next === COMMA) return 'more';
      this.#depth--;
    }
  }

  #key(): boolean {
    this.#space();
    if (this.#bytes[this.#at] !== QUOTE || !this.#string()) return false;
    this.#space();
    if (this.#bytes[this.#at] !== COLON) return false;
    this.#at++;
    return true;
  }

  #plain(first: number | undefined): boolean {
    if (first === QUOTE) return this.#string();
    const word = first === undefined ? undefined : WORDS[first];
    return word ? this.#word(word) : this.#number();
  }

  #word(word: Uint8Array): boolean {
    for (const byte of word) {
      if (this.#bytes[this.#at] !== byte) return false;
      this.#at++;
    }
    return true;
  }

  #string(): boolean {
    const bytes = this.#bytes;
    let at = this.#at + 1;
    let fourAtOnce = at + SHORT;
    for (;;) {
      if (at >= fourAtOnce && ((bytes.byteOffset + at) & 3) === 0) {
        at = this.#plainUntil(at);
        fourAtOnce = at + SHORT;
      }
      const byte = bytes[at];
      if (byte === undefined || byte < 0x20) break;
      at++;
      if (byte === QUOTE) {
        this.#at = at;
        return true;
      }
      if (byte !== BACKSLASH) continue;
      if (bytes[at] === 0x75) {
        const end = at + 5;
        do at++;
        while (at < end && this.#is(at, HEX));
        if (at < end) break;
      } else if (this.#is(at, ESCAPED)) {
        at++;
      } else {
        break;
      }
    }
    this.#at = at;
    return false;
  }

  /**
   * No byte from `at`, which begins a word of the buffer, to what is returned ends a string or is wrong in one. Four bytes
   * at once, by the arithmetic of "Bit Twiddling Hacks" (S. E. Anderson): the high bit of a byte is set when that byte, or
   * a lower one, is below a value or equal to it.
   */
  #plainUntil(at: number): number {
    const { buffer, byteOffset, length } = this.#bytes;
    this.#words ??= new Int32Array(buffer, 0, buffer.byteLength >> 2);
    const words = this.#words;
    const end = (byteOffset + length) >> 2;
    let index = (byteOffset + at) >> 2;
    for (; index < end; index++) {
      const word = words[index] as number;
      const quote = word ^ 0x22222222;
      const backslash = word ^ 0x5c5c5c5c;
      const control = (word - 0x20202020) & ~word;
      const found = control | ((quote - 0x01010101) & ~quote) | ((backslash - 0x01010101) & ~backslash);
      if ((found & 0x80808080) !== 0) break;
    }
    return index * 4 - byteOffset;
  }

  #number(): boolean {
    const bytes = this.#bytes;
    if (bytes[this.#at] === 0x2d) this.#at++;
    if (bytes[this.#at] === 0x30) this.#at++;
    else if (!this.#digits()) return false;
    if (bytes[this.#at] === 0x2e) {
      this.#at++;
      if (!this.#digits()) return false;
    }
    const exponent = bytes[this.#at];
    if (exponent !== 0x65 && exponent !== 0x45) return true;
    this.#at++;
    const sign = bytes[this.#at];
    if (sign === 0x2b || sign === 0x2d) this.#at++;
    return this.#digits();
  }

  #digits(): boolean {
    const first = this.#at;
    while (this.#is(this.#at, DIGIT)) this.#at++;
    return this.#at > first;
  }

  #space(): void {
    while (this.#is(this.#at, SPACE)) this.#at++;
  }

  #is(at: number, bit: number): boolean {
    const byte = this.#bytes[at];
    return byte !== undefined && ((CLASSES[byte] as number) & bit) !== 0;
  }

  #push(bracket: number): void {
    if (this.#depth === this.#open.length) {
      const grown = new Uint8Array(Math.max(FIRST_ROOM, this.#depth * 2));
      grown.set(this.#open);
      this.#open = grown;
    }
    this.#open[this.#depth++] = bracket;
  }
}
