// Words of the parts that pages share.

const en = {
  once: 'It is shown this once: keep it now, it cannot be shown again.',
  writeName: 'Write {{name}} to confirm',
  never: 'never',
  any: 'any',
  none: 'none',
  yes: 'yes',
  no: 'no',
  days: 'Valid for so many days',
  enterEach: 'Enter each with the Enter key.',
  saved: 'Saved',
  done: 'Done',
  deleted: 'Deleted',
  open: 'Open',
  edit: 'Change',
  showAll: 'Show all',
  text: 'Search',
  noMatch: 'Nothing is like that',
};

const zh: typeof en = {
  once: '仅显示这一次：请立即保存，之后无法再次查看。',
  writeName: '输入 {{name}} 以确认',
  never: '从不',
  any: '不限',
  none: '无',
  yes: '是',
  no: '否',
  days: '有效天数',
  enterEach: '每输入一项按回车。',
  saved: '已保存',
  done: '已完成',
  deleted: '已删除',
  open: '打开',
  edit: '修改',
  showAll: '显示全部',
  text: '搜索',
  noMatch: '没有匹配的内容',
};

export const parts = { en, zh };
