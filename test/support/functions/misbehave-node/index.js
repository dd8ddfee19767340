// Does what the event's `do` says: every way in which a handler can go wrong while it runs.
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');

const MIB = 2 ** 20;
const kept = [];

const actions = {
  throw: () => {
    throw new TypeError('thrown on purpose');
  },
  'throw-text': () => {
    throw 'only text';
  },
  reject: () => Promise.reject(new TypeError('rejected on purpose')),
  'throw-later': () =>
    new Promise(() => {
      setTimeout(() => {
        throw new TypeError('thrown outside of the promise');
      }, 10);
    }),
  'never-settles': () => new Promise(() => {}),
  value: (event) => event.value,
  exit: () => {
    process.exit(3);
  },
  die: () => {
    process.kill(process.pid, 'SIGKILL');
    return new Promise(() => {});
  },
  eat: () => {
    for (;;) kept.push(Buffer.alloc(8 * MIB, 'x'));
  },
  'eat-in-child': () => {
    const code = 'const kept = []; for (let n = 0; n < 100; n++) kept.push(Buffer.alloc(8 * 2 ** 20, "x"));';
    return { childSignal: spawnSync(process.execPath, ['-e', code]).signal };
  },
  'eat-heap': () => {
    for (;;) kept.push(Array.from({ length: 1000 }, (_, n) => ({ n })));
  },
  'fill-tmp': fillTmp,
  'fill-tmp-and-eat': () => {
    fillTmp();
    return actions.eat();
  },
  'answer-much': () => 'x'.repeat(7 * MIB),
  'print-much': () => {
    for (let n = 0; n < 1024; n++) {
      console.log('o'.repeat(1023));
      console.error('e'.repeat(1023));
    }
    return { statusCode: 200, body: 'printed' };
  },
  'no-json': () => 10n,
  'no-number': () => {
    const circle = {};
    circle.circle = circle;
    return circle;
  },
  nothing: () => undefined,
  'write-code': () => {
    try {
      fs.writeFileSync('written', 'x');
    } catch (error) {
      return error.code;
    }
    return null;
  },
  'write-to-link': () => {
    fs.writeSync(3, 'garbage'.repeat(1000));
    return 'unnoticed';
  },
  'leave-child': () => {
    spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' }).unref();
    return 'left';
  },
  recurse: (event) => [actions.recurse(event)],
};

function fillTmp() {
  const file = fs.openSync('/tmp/filled', 'w');
  const piece = Buffer.alloc(MIB, 'x');
  let written = 0;
  try {
    while (written < 1024 * MIB) written += fs.writeSync(file, piece);
  } catch (error) {
    return { written, error: error.code };
  } finally {
    fs.closeSync(file);
  }
  return { written, error: null };
}

exports.handle = (event) => actions[event.do](event);
