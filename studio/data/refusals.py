"""Answers that refuse, or speak of themselves as a language model, told by how they begin.

Phrases that people say too ("I'm sorry, but I can't come") are no refusals: a verb of helping, or
the word for a model, must follow.
"""

import re

# A refusal stands at the beginning of an answer.
_LOOKED_AT = 240

_PATTERNS = (
    # English
    r"\bas an? (?:ai|artificial intelligence|large language|language|virtual|digital|text-based|"
    r"machine learning)(?:[ -](?:language|assistant|text))*"
    r"[ -]?(?:model|assistant|program|chatbot)?"
    r"(?:,| i\b| my\b| it\b| trained\b| developed\b)",
    r"\bi(?:'m| am) (?:just |only |merely )?an? (?:ai|artificial intelligence|(?:large )?language "
    r"model)\b[^.]{0,60}\b(?:and|so|but|,)? ?(?:i )?(?:don't|do not|can't|cannot|can not|unable)\b",
    r"\bi(?:'m| am)?(?: (?:really|very|so|truly))? ?(?:sorry|apologi[sz]e|regret)[^.!?]{0,60}?\b"
    r"(?:can't|cannot|can not|won't|unable to|not able to|don't have the (?:ability|capability|"
    r"capabilities))(?: to)?(?: \w+)? "
    r"(?:assist|help|provide|fulfil|fulfill|comply|answer|generate|create|write|engage|support|"
    r"continue|do that|discuss|perform|complete|respond|give|offer|share|execute|book|order)\b",
    r"^(?:(?:i'm |i am )?sorry[,.!]? )?(?:but )?i (?:can't|cannot|can not|won't|will not|"
    r"am unable to|am not able to|must decline to|must refuse to)(?: \w+)? "
    r"(?:assist|help (?:you )?with|provide (?:you )?|fulfil|comply|answer (?:that|this)|"
    r"generate|engage in|discuss|create (?:content|that)|participate)",
    r"\bi (?:don't|do not) have (?:personal )?(?:feelings|emotions|opinions|beliefs|preferences|"
    r"consciousness|experiences|access to (?:real[- ]time|current|the internet))\b",
    r"\bmy knowledge cut-?off\b|\b(?:as of )?my (?:last|latest) (?:knowledge|training) "
    r"(?:update|cut-?off|data)\b",
    # German
    r"\bals (?:eine? )?(?:ki|künstliche intelligenz|(?:großes )?sprachmodell|ki-\w+)\b",
    r"^(?:es )?tut mir (?:sehr )?leid,? (?:aber )?"
    r"(?:das kann ich nicht|ich kann (?:\w+ ){0,3}nicht|dabei kann ich)",
    # French
    r"\ben tant qu(?:e |'|’)(?:modèle de langage|ia\b|intelligence artificielle|assistant (?:ia|"
    r"virtuel)|une? (?:ia|intelligence artificielle|modèle))",
    r"^(?:je suis )?désolée?,? (?:mais )?je ne (?:peux|suis) pas",
    # Spanish
    r"\bcomo (?:un |una )?(?:modelo de lenguaje|ia\b|inteligencia artificial|asistente (?:de ia|"
    r"virtual))",
    r"^lo siento,? (?:pero )?no (?:puedo|me es posible) (?:ayudar|proporcionar|cumplir|responder|"
    r"asistir|generar|crear)",
    # Italian, Portuguese
    r"\bcome (?:modello (?:di linguaggio|linguistico)|intelligenza artificiale|(?:un')?ia\b)",
    r"^mi dispiace,? (?:ma )?non posso (?:aiutar|fornir|rispond|soddisf|generar)",
    r"\bcomo (?:um |uma )?(?:modelo de linguagem|inteligência artificial)",
    r"^(?:desculpe|sinto muito|lamento),? (?:mas )?não posso (?:ajudar|fornecer|responder|gerar)",
    # Russian
    r"\b(?:как|являюсь|я) (?:большая |искусственный |всего лишь )?(?:языковая модель|"
    r"языковой модел\w+|искусственный интеллект|интеллект, |ии[- ](?:модель|ассистент))",
    r"^(?:извините|простите|к сожалению),? (?:но )?я не могу (?:помочь|предоставить|ответить|"
    r"выполнить)",
    # Chinese, Japanese, Korean
    r"作为(?:一个|一款|一名)?(?:人工智能|ai|大型?语言模型|语言模型)",
    r"^(?:很?抱歉|对不起|非常抱歉)[，,。]?\s*(?:但是?)?我(?:无法|不能|没有办法)(?:提供|帮助|回答|满足|协助|完成|生成)",
    r"(?:ai|人工知能)(?:言語モデル|アシスタント)?として|言語モデルとして",
    r"^(?:申し訳(?:ありません|ございません)|すみません)が?、?.{0,30}(?:お答え|お手伝い|提供)(?:する(?:こと)?は?|は)?(?:でき|いたしかね)",
    r"(?:ai|인공지능)(?: 언어)? ?모델(?:로서|이기|이므로)|언어 모델로서",
    r"^(?:죄송하지만|죄송합니다만?),?.{0,30}(?:도와|제공|답변)[^.]{0,12}(?:수 없|드릴 수)",
)
_REFUSAL = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS))
# One of these stands in every refusal: a quick look that spares most texts the patterns.
_SIGNS = (
    *("as a ", "as an ", "sorry", "apologi", "regret", "i can't", "i cannot", "i can not"),
    *("i won't", "i will not", "i am unable", "i am not able", "i must ", "i'm a", "i am "),
    *("i don't have", "i do not have", "my knowledge", "my last", "my latest"),
    *("als ", "leid", "en tant", "désol", "como ", "siento", "come ", "dispiace", "descul"),
    *("lamento", "sinto", "язык", "интел", "ии", "могу", "作为", "抱歉", "对不起", "として"),
    *("申し訳", "すみません", "모델", "죄송"),
)


def refusal_in(answer: str) -> str:
    """The refusing words of an answer's beginning, "" where there are none."""
    start = answer[:_LOOKED_AT].lstrip()
    plain = start.replace("\u2019", "'").lower()
    if not any(sign in plain for sign in _SIGNS):
        return ""
    match = _REFUSAL.search(plain)
    if match is None:
        return ""
    # Lower case may be longer (İ): then the words are shown in it.
    return (start if len(plain) == len(start) else plain)[slice(*match.span())]
