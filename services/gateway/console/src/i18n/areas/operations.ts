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
};

export const operations = { en, zh };
