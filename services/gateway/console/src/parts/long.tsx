// A cell for sentences and names of any length: it wraps, so that the columns behind it stay in sight.

export const long = (text?: string | null) => <span className="cell">{text ?? ''}</span>;
