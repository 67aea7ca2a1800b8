// Words of public addresses.

const en = {
  pools: {
    sub: 'Pools of addresses that services can ask for, and who has which',
    empty: 'There is no pool yet. Add one, so that services can have public addresses of their own.',
    noneForYou: 'There is no pool of public addresses that you may use.',
    add: 'Add a pool',
    change: 'Change',
    changeOf: 'Change the pool {{name}}',
    addresses: 'Addresses',
    addressesHelp: 'One a line: a network, a range or an address of IPv4, which are led to the nodes. Every address is given out, the first and the last of a network, too. What is in use has to stay.',
    orgs: 'For organisations',
    orgsHelp: 'Without any, all may use it.',
    forAll: 'all',
    deletedOrg: 'a deleted one (…{{id}})',
    free: 'Free',
    freeOf: '{{free}} of {{size}}',
    usedOf: 'Use of the pool {{name}}',
    taken: 'In use',
    takenOf: 'Addresses of {{name}} in use',
    deleteOf: 'Delete the pool {{name}}?',
    deleteHelp: 'No address of it is in use. Services that ask for this pool are refused from then on.',
    inUse: 'These applications have addresses of it. Deploy them without these first; then the pool can be deleted.',
  },
};

const zh: typeof en = {
  pools: {
    sub: '服务可申请的地址池，以及各地址的使用者',
    empty: '尚无地址池。添加后，服务即可拥有自己的公网地址。',
    noneForYou: '没有您可以使用的公网地址池。',
    add: '添加地址池',
    change: '修改',
    changeOf: '修改地址池 {{name}}',
    addresses: '地址',
    addressesHelp: '每行一个 IPv4 网段、范围或地址，须已路由到节点。网段中的所有地址都会被分配，包括首尾地址。正在使用的地址必须保留。',
    orgs: '可用组织',
    orgsHelp: '留空：所有组织均可使用。',
    forAll: '所有组织',
    deletedOrg: '已删除的组织（…{{id}}）',
    free: '可用',
    freeOf: '{{free}} / {{size}}',
    usedOf: '地址池 {{name}} 的使用情况',
    taken: '已使用',
    takenOf: '{{name}} 中已使用的地址',
    deleteOf: '删除地址池 {{name}}？',
    deleteHelp: '其中没有正在使用的地址。删除后，申请此地址池的服务将被拒绝。',
    inUse: '以下应用正在使用其中的地址。请先让这些应用不再申请这些地址并重新部署，然后才能删除地址池。',
  },
};

export const addressesWords = { en, zh };
