// Does what the event's `do` says: every way in which a handler can go wrong while it runs.
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');

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
  exit: ({ code = 3 }) => {
    process.exit(code);
  },
  die: () => {
    process.kill(process.pid, 'SIGKILL');
    return new Promise(() => {});
  },
  segfault: () => {
    process.kill(process.pid, 'SIGSEGV');
    return new Promise(() => {});
  },
  hang: () => new Promise(() => {}),
  tell,
  show: ({ text }) => {
    console.log(text);
    return 'shown';
  },
  eat: () => {
    for (;;) kept.push(Buffer.alloc(8 * MIB, 'x'));
  },
  'eat-in-child': () => {
    const code = 'const kept = []; for (let n = 0; n < 100; n++) kept.push(Buffer.alloc(8 * 2 ** 20, "x"));';
    return { childSignal: spawnSync(process.execPath, ['-e', code]).signal };
  },
  grow: ({ mib, tmp }) => {
    if (tmp) fillTmp();
    return Buffer.alloc(mib * MIB, 'x').length;
  },
  'eat-in-child-and-throw': () => {
    throw new Error(`the child ended by ${actions['eat-in-child']().childSignal}`);
  },
  'eat-in-child-and-exit': () => {
    actions['eat-in-child']();
    process.exit(4);
  },
  // Grows without end when the call has ended.
  'leave-eater': () => {
    spawn('sh', ['-c', 'sleep 1; head -c 1000000000 /dev/zero | tail -n 1'], { stdio: 'ignore' }).unref();
    return 'left';
  },
  'eat-address-space': () => new ArrayBuffer(2 ** 42).byteLength,
  'overfill-tmp': () => {
    const file = fs.openSync('/tmp/filled', 'w');
    try {
      for (;;) fs.writeSync(file, Buffer.alloc(MIB, 'x'));
    } finally {
      fs.closeSync(file);
      fs.rmSync('/tmp/filled');
    }
  },
  'eat-heap': () => {
    for (;;) kept.push(Array.from({ length: MIB }, () => 0));
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

/** Tells the test (test/support/beacon.ts) that it runs, waits for the test's word, and goes on with `next`. */
async function tell(event) {
  const { sandbox } = JSON.parse(fs.readFileSync('/run/worker-front/sandbox.json', 'utf8'));
  const beacon = net.connect('/run/worker-front/beacon.sock');
  beacon.write(`${JSON.stringify({ sandbox, word: event.word })}\n`);
  let word = '';
  for await (const piece of beacon) word += piece;
  return event.next ? actions[event.next](event) : word.trim();
}

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
