import { describe, expect, it } from 'vitest';
import { applyInput, forwardParent, isInPlace, ownLines, removeInput, type TablePart } from './filter-table.ts';

const PREFIX = 'WF-n1-';
const PART: TablePart = {
  prefix: PREFIX,
  chains: [
    { name: 'WF-n1-FORWARD', rules: ['-i wfn1o -j WF-n1-REFUSE'] },
    { name: 'WF-n1-REFUSE', rules: ['-j REJECT'] },
  ],
  jumps: [{ from: 'DOCKER-USER', to: 'WF-n1-FORWARD' }],
};
const EMPTY = `*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -s 1.2.3.4/32 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
`;
const STANDING = `*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:WF-n1-FORWARD - [12:720]
:WF-n1-REFUSE - [0:0]
:WF-n12-FORWARD - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -j WF-n12-FORWARD
-A DOCKER-USER -j WF-n1-FORWARD
-A DOCKER-USER -j RETURN
-A WF-n1-FORWARD -i wfn1o -j WF-n1-REFUSE
-A WF-n1-REFUSE -j REJECT --reject-with icmp-port-unreachable
-A WF-n12-FORWARD -i wfn12o -j REJECT
COMMIT
`;

describe('what comes in from forwarding', () => {
  it("is caught in the engine's chain for users", () => {
    expect(forwardParent(EMPTY)).toBe('DOCKER-USER');
    expect(forwardParent(STANDING)).toBe('DOCKER-USER');
  });

  it.each([
    ['there is no such chain', '*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n'],
    ['there is no table', ''],
    ['it is not reached', EMPTY.replace('-A FORWARD -j DOCKER-USER\n', '')],
    [
      'a rule before it may let packets through',
      EMPTY.replace('-A FORWARD', '-A FORWARD -i lan0 -j ACCEPT\n-A FORWARD'),
    ],
  ])('is caught in FORWARD itself when %s', (_, dump) => {
    expect(forwardParent(dump)).toBe('FORWARD');
  });
});

describe('the rules of a node', () => {
  it('are in place when every chain has its number of rules, and the jump is first but for those of other nodes', () => {
    expect(isInPlace(STANDING, PART)).toBe(true);
  });

  it.each([
    ['nothing is there', EMPTY],
    ['the jump is gone', STANDING.replace('-A DOCKER-USER -j WF-n1-FORWARD\n', '')],
    ['a rule is gone', STANDING.replace('-A WF-n1-FORWARD -i wfn1o -j WF-n1-REFUSE\n', '')],
    ['something comes before the jump', STANDING.replace('-A DOCKER-USER', '-A DOCKER-USER -j ACCEPT\n-A DOCKER-USER')],
    ['the jump is there twice', STANDING.replace('-A DOCKER-USER -j RETURN', '-A DOCKER-USER -j WF-n1-FORWARD')],
    ['the jump is elsewhere, too', STANDING.replace('-A DOCKER', '-A FORWARD -j WF-n1-FORWARD\n-A DOCKER')],
    ['an older version has left a chain', STANDING.replace(':WF-n12', ':WF-n1-OLD - [0:0]\n:WF-n12')],
  ])('are not when %s', (_, dump) => {
    expect(isInPlace(dump, PART)).toBe(false);
  });

  it('are told from those of a node whose name begins the same', () => {
    expect(ownLines(STANDING, PREFIX)).not.toContain('n12');
    expect(removeInput(STANDING, PREFIX)).not.toContain('n12');
    expect(applyInput(STANDING, PART)).not.toContain('n12');
  });
});

it('brings a table to the wanted state in one go', () => {
  const before = STANDING.replace(':WF-n12', ':WF-n1-OLD - [0:0]\n:WF-n12');
  expect(applyInput(before, PART)).toBe(`*filter
:WF-n1-FORWARD - [0:0]
:WF-n1-REFUSE - [0:0]
-D DOCKER-USER -j WF-n1-FORWARD
-A WF-n1-FORWARD -i wfn1o -j WF-n1-REFUSE
-A WF-n1-REFUSE -j REJECT
-I DOCKER-USER 1 -j WF-n1-FORWARD
-F WF-n1-OLD
-X WF-n1-OLD
COMMIT
`);
});

it('takes everything of a node away, and nothing when there is nothing', () => {
  expect(removeInput(STANDING, PREFIX)).toBe(`*filter
-D DOCKER-USER -j WF-n1-FORWARD
-F WF-n1-FORWARD
-F WF-n1-REFUSE
-X WF-n1-FORWARD
-X WF-n1-REFUSE
COMMIT
`);
  expect(removeInput(EMPTY, PREFIX)).toBeUndefined();
});
