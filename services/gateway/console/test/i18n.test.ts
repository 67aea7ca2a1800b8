import { describe, expect, it } from 'vitest';

import { enUS } from '../src/i18n/en-US';
import { zhCN } from '../src/i18n/zh-CN';

type Tree = { [key: string]: string | Tree };

function flat(tree: Tree, prefix = ''): Map<string, string> {
  const found = new Map<string, string>();
  for (const [key, value] of Object.entries(tree)) {
    if (typeof value === 'string') found.set(prefix + key, value);
    else for (const [inner, text] of flat(value, `${prefix}${key}.`)) found.set(inner, text);
  }
  return found;
}

const holes = (text: string) => (text.match(/\{\{\w+\}\}/g) ?? []).toSorted();

const english = flat(enUS);
const chinese = flat(zhCN);

const sources = import.meta.glob<string>('../src/**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true });

/** Names that are written alike in both, in the order of the alphabet. */
const NAMES = ['upstreams.presets.github', 'upstreams.presets.gitlab', 'upstreams.presets.google'];

/** What is written alike in every language. */
const PLAIN = ['../src/pages/people/Import.tsx: 张三'];

describe('the two languages', () => {
  it('have the same keys', () => {
    expect([...chinese.keys()].toSorted()).toEqual([...english.keys()].toSorted());
  });

  it('have no empty text and the same placeholders', () => {
    for (const [key, text] of english) {
      expect(text, key).not.toBe('');
      expect(chinese.get(key), key).not.toBe('');
      expect(holes(chinese.get(key)!), key).toEqual(holes(text));
    }
  });

  it('differ: nothing was left untranslated', () => {
    const same = [...english].filter(([key, text]) => chinese.get(key) === text).map(([key]) => key);
    expect(same.toSorted()).toEqual(NAMES);
  });

  it('hold every key that the source asks for', () => {
    const code = Object.values(sources).join('\n');
    const asked = [...code.matchAll(/\bt\(\s*'([\w.]+)'/g), ...code.matchAll(/[?:] '([a-z]+\.[\w.]+)'/g)].map((match) => match[1]!);
    expect(asked.length).toBeGreaterThan(200);
    expect([...new Set(asked)].filter((key) => !english.has(key))).toEqual([]);
    // A key made of parts needs at least one key under its fixed beginning.
    const beginnings = [...code.matchAll(/\bt\(`([\w.]+\.)\$\{/g)].map((match) => match[1]!);
    expect(beginnings.filter((start) => ![...english.keys()].some((key) => key.startsWith(start)))).toEqual([]);
  });

  it('are all there is: no component has words of its own', () => {
    // Text between tags, and what assistive programs and fields show; names of products and units are no words.
    const shown = [/>\s*((?!\d)[A-Z][a-z]+(?: [a-zA-Z',]+)+[.?!]?)\s*</g, /\b(?:title|label|placeholder|aria-label|alt|okText|cancelText|description|extra|help)="([A-Za-z][a-z]+(?: [A-Za-z',]+)+[.?!]?)"/g, /[\u4e00-\u9fff]+/g];
    const found = Object.entries(sources)
      .filter(([file]) => !file.includes('/i18n/') && !file.endsWith('Switches.tsx'))
      .flatMap(([file, code]) => {
        const bare = code.replaceAll(/(?:^|\s)\/\/.*|\/\*[\s\S]*?\*\//g, '');
        return shown.flatMap((pattern) => [...bare.matchAll(pattern)].map((match) => `${file}: ${match[1] ?? match[0]}`));
      });
    expect(found).toEqual(PLAIN);
  });

  it('have no area whose words hide those of another', () => {
    const areas = Object.entries(import.meta.glob<Record<string, { en?: Tree; zh?: Tree }>>('../src/i18n/areas/*.ts', { eager: true })).flatMap(([, module]) => Object.values(module));
    const names = areas.flatMap((area) => Object.keys(area.en ?? {}));
    // An area of which the words are one group is no group of groups.
    const groups = names.filter((name) => typeof areas.find((area) => name in (area.en ?? {}))?.en?.[name] === 'object');
    expect(groups.filter((name, at) => groups.indexOf(name) !== at)).toEqual([]);
  });

  it('call one thing by one name: the sign-in pages say the same', () => {
    // Misspelt, or another word for what is called otherwise everywhere else.
    const others = { 账户: '账号', 帐号: '账号', 登陆: '登录', 秘钥: '密钥', 报警: '告警', 缺省: '默认', 服务帐户: '服务账号' };
    const found = [...chinese].flatMap(([key, text]) => Object.entries(others).flatMap(([wrong, right]) => (text.includes(wrong) ? [`${key}: ${wrong} is called ${right}`] : [])));
    expect(found).toEqual([]);
  });
});
