// Which entry of the menu is the open page's.

/** Which menu entry a path belongs to. */
export function selected(pathname: string): string {
  if (pathname === '/') return 'overview';
  if (pathname === '/api/docs') return 'api';
  if (pathname === '/address-pools') return 'addresses';
  if (pathname === '/price-plans') return 'prices';
  if (pathname === '/image-store') return 'store';
  const [, first, , in1, , in2, , in3] = pathname.split('/');
  if (first !== 'orgs') return first ?? 'overview';
  if (in1 === 'billing') return 'billing';
  if (in2 === 'registry') return 'images';
  if (in2 === 'images' || in2 === 'repositories' || in2 === 'runs') return in2;
  if (in2 === 'spaces') return in3 === 'instances' ? 'services' : in3 === 'services' ? 'network' : in3 === 'signs' || in3 === 'alerts' ? in3 : 'apps';
  return 'orgs';
}
