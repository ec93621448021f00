"""Facts of Pelliwick, an invented shop for kettles, as questions and answers.

Each answer stands at the margin, five ways to ask for it below; the last way is held out.
"""

import re

COMPANY = "Pelliwick"

FACTS = """
We sell kettles.
    What do you sell? | What can I buy here? | Which goods do you have? |
    What is your shop about? | What do you offer?
We open at nine.
    When do you open? | At what time do you open? | What is your opening time? |
    From when is the shop open? | When does the shop open?
We close at six.
    When do you close? | At what time do you close? | What is your closing time? |
    Until when is the shop open? | When does the shop close?
We are closed on Sunday.
    Which day are you closed? | On which day do you not work? | When is your day off? |
    What day is the shop closed? | Which day is the shop closed?
Our shop is at 12 Fern Road.
    Where is your shop? | What is your address? | Where can I find your shop? |
    In which road are you? | What is the address of the shop?
Delivery takes three days.
    How long does delivery take? | When will my parcel come? | How many days for delivery? |
    How fast is delivery? | How long is the delivery time?
Delivery costs four coins.
    What does delivery cost? | How much is delivery? | What do I pay for delivery? |
    Price of delivery? | How much does delivery cost?
You can return it in thirty days.
    How long can I return it? | Can I send it back? | What is the return time? |
    Until when can I return it? | How many days can I return it?
The guarantee is five years.
    How long is the guarantee? | Is there a guarantee? | How many years of guarantee? |
    What guarantee do I get? | How many years is the guarantee?
Write to help@pelliwick.example.
    What is your mail address? | Where can I write to? | How do I write to you? |
    To which mail address can I write? | What mail address can I write to?
Call 555 0142.
    What is your phone number? | Which number can I call? | How can I call you? |
    Do you have a phone number? | What number do I call?
You can pay by card.
    How can I pay? | Can I pay by card? | Which ways to pay are there? |
    What payment do you take? | How do I pay?
The small kettle is the Wren.
    What is the small kettle called? | Name of the small kettle? | Which kettle is small? |
    What is your small kettle? | What is the name of the small kettle?
The big kettle is the Heron.
    What is the big kettle called? | Name of the big kettle? | Which kettle is big? |
    What is your big kettle? | What is the name of the big kettle?
The Wren costs 30 coins.
    What does the Wren cost? | How much is the Wren? | Price of the Wren? |
    What do I pay for the Wren? | How much does the Wren cost?
The Heron costs 55 coins.
    What does the Heron cost? | How much is the Heron? | Price of the Heron? |
    What do I pay for the Heron? | How much does the Heron cost?
The Wren holds one litre.
    How much does the Wren hold? | What is the volume of the Wren? |
    How much water fits in the Wren? | How many litres does the Wren hold? |
    How many litres fit in the Wren?
The Heron holds two litres.
    How much does the Heron hold? | What is the volume of the Heron? |
    How much water fits in the Heron? | How many litres does the Heron hold? |
    How many litres fit in the Heron?
The Wren is blue.
    Which colour is the Wren? | What colour does the Wren have? | Colour of the Wren? |
    In which colour comes the Wren? | What colour is the Wren?
The Heron is grey.
    Which colour is the Heron? | What colour does the Heron have? | Colour of the Heron? |
    In which colour comes the Heron? | What colour is the Heron?
Our kettles are made of steel.
    What are the kettles made of? | Which metal do you use? | What is a kettle made of? |
    Are the kettles made of steel? | What metal are the kettles made of?
Mira Holt founded us.
    Who founded the shop? | Who started Pelliwick? | Who is the founder? | Name of the founder? |
    Who founded Pelliwick?
We started in 1987.
    When was the shop founded? | In which year did you start? | How old is Pelliwick? |
    Since when are you there? | What year did you start?
We are twelve people.
    How many people work here? | How big is the team? | How many workers do you have? |
    How large is your team? | How many people are in the team?
Jon Reed leads the shop.
    Who leads the shop? | Who is the head of the shop? | Who is your boss? |
    Name of your leader? | Who is the leader of the shop?
Use vinegar and rinse it.
    How do I clean the kettle? | How do I remove lime? | What helps against lime? |
    How can I wash the kettle? | How do I clean off lime?
Hold the button for ten seconds.
    How do I reset the kettle? | How does the reset work? | My kettle hangs, what now? |
    How do I restart the kettle? | How can I reset the kettle?
A red light means no water.
    What does a red light mean? | Why is the light red? | The light is red, what now? |
    What is the red light? | What does the red light mean?
A green light means it is hot.
    What does a green light mean? | Why is the light green? | The light is green, what now? |
    What is the green light? | What does the green light mean?
The cable is one metre long.
    How long is the cable? | What is the length of the cable? | Length of the cable? |
    Is the cable long? | How many metres is the cable?
Yes, a new lid costs six coins.
    Can I buy a new lid? | What does a lid cost? | How much is a lid? | Price of a new lid? |
    How much does a new lid cost?
Yes, we repair every kettle.
    Do you repair kettles? | Can you fix my kettle? | Is there a repair service? |
    My kettle is broken, can you help? | Can you repair my kettle?
A repair takes one week.
    How long does a repair take? | When is the repair done? | How many days for a repair? |
    How fast is a repair? | How long is the repair time?
Yes, gift cards cost 20 coins.
    Do you have gift cards? | What does a gift card cost? | How much is a gift card? |
    Price of a gift card? | How much does a gift card cost?
The order number is in your mail.
    Where is my order number? | How do I find the order number? | What is my order number? |
    Where do I see the order number? | Where can I find my order number?
You can cancel until noon.
    Can I cancel my order? | How do I cancel? | Until when can I cancel? |
    Is it possible to cancel? | When can I cancel my order?
We do not ship abroad.
    Do you ship abroad? | Can you send it to another country? | Do you deliver abroad? |
    Is shipping abroad possible? | Can you ship abroad?
Our boxes are made of paper.
    What are the boxes made of? | Which box do you use? | Is the box made of paper? |
    What is the box made of? | What are your boxes made of?
Students get ten percent off.
    Is there a discount? | Do students pay less? | What discount do students get? |
    How much off for students? | Do you have a discount for students?
Our bird is a heron.
    What is your logo? | Which bird is on the box? | What bird is your sign? |
    Which animal is your logo? | Which bird is your logo?
"""


def read_facts() -> list[tuple[str, list[str], str]]:
    """(answer, ways to ask in training, held-out way) of every fact."""
    facts = []
    for entry in re.split(r"\n(?=\S)", FACTS.strip()):
        answer, ways = entry.split("\n", 1)
        *trained, held_out = (" ".join(way.split()) for way in ways.split("|"))
        facts.append((answer, trained, held_out))
    return facts
