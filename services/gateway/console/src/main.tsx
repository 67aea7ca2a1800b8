// Begins with the nonce: whatever is loaded after it may write style elements, also while it is being loaded.

import './nonce';

void import('./start');
