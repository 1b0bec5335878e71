/** The key code of every key that an input method has used. */
const USED_BY_INPUT_METHOD = 229

/** Whether a key belongs to an input method. In Safari the key that ends a composition comes after it, with the code alone. */
export const isComposing = (event: KeyboardEvent) => event.isComposing || event.keyCode === USED_BY_INPUT_METHOD
