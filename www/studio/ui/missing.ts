/** Something that only the person can give or mend, said in words for them. */
export class MissingInput extends Error {}
