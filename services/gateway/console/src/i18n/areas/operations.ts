// Words of instances and what happened to applications.

const en = {
  instance: {
    title: 'Instance {{name}}',
    missing: 'There is no instance {{name}} any more',
    missingHelp: 'It has ended, or was replaced by another.',
    workload: 'Workload',
    exitCode: 'Exit code',
    placed: 'Placed',
    running: 'Running since',
    inRotation: 'In rotation',
    events: 'Events',
  },
  revision: {
    compare: 'Compare two revisions',
    from: 'From revision',
    to: 'To revision',
    same: 'Nothing differs between them',
    difference: 'What differs from revision {{from}} to {{to}}',
    changes: 'What revision {{revision}} changed',
    edit: 'Open in the editor',
    wouldChange: 'This is what going back would change:',
  },
  release: {
    title: 'Revision {{revision}} is being released',
    ready: '{{ready}} of {{all}} in rotation',
    old: '{{count}} of earlier revisions still there',
    progress: 'Release of {{workload}}',
  },
  goes: {
    along: 'This goes with it:',
    configs: 'Configurations and secrets',
    volumes: 'Volumes (their data stays on the node)',
  },
};

const zh: typeof en = {
  instance: {
    title: '实例 {{name}}',
    missing: '实例 {{name}} 已不存在',
    missingHelp: '它已结束，或已被另一个实例替换。',
    workload: '工作负载',
    exitCode: '退出码',
    placed: '放置时间',
    running: '运行时间',
    inRotation: '接收流量',
    events: '事件',
  },
  revision: {
    compare: '比较两个版本',
    from: '起始版本',
    to: '目标版本',
    same: '两者没有差异',
    difference: '从版本 {{from}} 到 {{to}} 的差异',
    changes: '版本 {{revision}} 的变更',
    edit: '在编辑器中打开',
    wouldChange: '回滚将带来以下变更：',
  },
  release: {
    title: '正在发布版本 {{revision}}',
    ready: '{{all}} 个中有 {{ready}} 个接收流量',
    old: '仍有 {{count}} 个属于旧版本',
    progress: '{{workload}} 的发布进度',
  },
  goes: {
    along: '将一并删除：',
    configs: '配置与密钥',
    volumes: '存储卷（数据保留在节点上）',
  },
};

export const operations = { en, zh };
