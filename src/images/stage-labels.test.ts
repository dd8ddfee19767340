import { describe, expect, it } from 'vitest';
import { labelStages } from './stage-labels.ts';

const label = (text: string) => labelStages(text, 'a', 'b');

describe('labelStages', () => {
  it('labels every stage', () => {
    expect(label('ARG X\nFROM x AS one\nRUN a\nfrom ${X}\nCOPY . /\n')).toBe(
      'ARG X\nFROM x AS one\nLABEL a="b"\nRUN a\nfrom ${X}\nLABEL a="b"\nCOPY . /\n',
    );
  });

  it('waits for the end of a continued FROM', () => {
    expect(label('FROM x \\\n  # remark\n  AS one\nRUN a')).toBe('FROM x \\\n  # remark\n  AS one\nLABEL a="b"\nRUN a');
  });

  it('leaves FROM inside another instruction and in comments alone', () => {
    const text = 'FROM x\nRUN echo \\\n\nFROM y\n# FROM z\n';
    expect(label(text)).toBe('FROM x\nLABEL a="b"\nRUN echo \\\n\nFROM y\n# FROM z\n');
  });

  it('knows the escape directive', () => {
    expect(label('# escape=`\nFROM x `\n AS y\nRUN dir \\\nFROM z')).toBe(
      '# escape=`\nFROM x `\n AS y\nLABEL a="b"\nRUN dir \\\nFROM z\nLABEL a="b"',
    );
  });

  it('accepts Windows line ends and a FROM in the last line', () => {
    expect(label('FROM x\r\nFROM y')).toBe('FROM x\nLABEL a="b"\nFROM y\nLABEL a="b"');
  });
});
